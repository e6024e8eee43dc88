"""bench: budgets, measured side by side with Debian's dockerd, same client, same image, interleaved."""
