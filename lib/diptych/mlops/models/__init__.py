"""Classical models: estimators, features, saving and loading, training on a cluster."""
