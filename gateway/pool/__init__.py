"""The pool of vLLM replicas."""
