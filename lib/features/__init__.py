"""Biological features of the cached images, and how well they separate the classes."""
