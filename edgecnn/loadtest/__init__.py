"""Load on a server over HTTP, made cheaply, and what came of it.

A *closed loop* has so many clients, each of which sends when its last request is answered: it finds the
throughput. An *open loop* sends at moments that are fixed beforehand, whatever the server does, and counts
each latency from that moment: it finds what users would see.
"""
