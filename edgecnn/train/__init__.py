"""Fine-tuning: from a network and labelled images to a checkpoint that says how it is used.

Nothing is imported here: ``settings``, ``result`` and ``files`` are light, and ``loop`` needs torch.
"""
