"""Tests of lib/learning."""
