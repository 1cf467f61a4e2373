"""Tests of lib/report."""
