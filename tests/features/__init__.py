"""Tests of lib/features."""
