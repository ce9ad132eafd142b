"""A structure-aware fuzzer of all that the package reads: see `__main__`."""
