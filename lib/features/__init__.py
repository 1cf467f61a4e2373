"""Biological features of cached images, and how well they separate the classes."""
