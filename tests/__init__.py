"""The tests; they mirror lib/."""
