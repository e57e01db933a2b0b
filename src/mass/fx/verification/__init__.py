"""The gate of a conversion (`verify`): the trace is the model (`verify_trace`), the rewriting is the trace (`reference`), and
what comes out moves as it should (`recording`), on several inputs (`probes`)."""
