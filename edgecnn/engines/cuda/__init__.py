"""What edgecnn needs of CUDA's runtime: memory, streams, events and graphs, checked and released."""
