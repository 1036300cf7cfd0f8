"""The site: pages of panels, contrast and sweeps, published whole or not at all."""
