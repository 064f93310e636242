"""The vocabulary every floor speaks: values, interfaces and errors. Imports nothing of ours, does no I/O."""
