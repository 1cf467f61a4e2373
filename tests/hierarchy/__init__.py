"""Tests of lib/hierarchy."""
