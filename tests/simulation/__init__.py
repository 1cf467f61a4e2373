"""Tests of lib/simulation."""
