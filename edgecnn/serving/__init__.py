"""The batching inference server: an artifact, an engine, and a standard protocol in front of them."""
