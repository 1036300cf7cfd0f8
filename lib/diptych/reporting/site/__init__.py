"""The site: pages of stages, contrast and sweeps, published whole or not at all."""
