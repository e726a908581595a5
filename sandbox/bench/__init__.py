"""Measures the whole path beside raw references in one run. Ratios count: absolute times are the machine's."""
