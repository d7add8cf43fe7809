"""Several processes behind one port: a light supervisor accepts connections, and workers answer them.

The supervisor hands each connection to the worker that has the fewest, replaces workers that die or hang, and
drains them at the end. It imports nothing heavy and never reads a request.
"""
