"""Language models: how one is asked, what its answer or failure means, and what it cost. One call is one question: chains, retries,
circuits and budgets belong to the kernel. Nothing heavy is imported before the first call: see `litellm_client` and `http_client`."""
