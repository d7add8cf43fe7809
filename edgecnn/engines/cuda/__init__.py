"""What edgecnn needs of CUDA's runtime: memory, streams and graphs, checked and released."""
