"""Attention for a batch of examples with a shared prefix, which is computed once.

All tokens pass through the model as one row: the prefix, then the rest of each example. Only
attention tells the examples apart.
"""

NAME = "diptych_shared_start"


def share_start(model) -> None:
    """Let the layers of a model take ``start`` and ``rows``, see `attend`."""
    from transformers import AttentionInterface

    AttentionInterface.register(NAME, attend)
    model.set_attn_implementation(NAME)


def attend(module, query, key, value, mask, start: int = 0, rows: int = 0, **options):
    """Attend within the prefix, and from each example to the prefix and itself.

    Parameters
    ----------
    query, key, value : tensors of shape (1, heads, start + rows * width, size)
    start : int
        Tokens of the prefix.
    rows : int
        Examples; 0 if the batch is the prefix alone.
    options : dict
        Of the layer; ``sliding_window`` says how many tokens it sees, if not all.

    Returns
    -------
    tensor of shape (1, start + rows * width, heads, size), None
    """
    import torch
    from transformers.integrations.sdpa_attention import sdpa_attention_forward

    if not rows and mask is not None:
        return sdpa_attention_forward(module, query, key, value, mask, **options)
    if not rows:
        return _causal(module, query, key, value, options), None
    split = [x.split([start, x.shape[2] - start], 2) for x in (query, key, value)]
    begun, rest = zip(*split, strict=True)
    # (rows, heads, width, size)
    query, key, value = (x[0].unflatten(1, (rows, -1)).transpose(0, 1) for x in rest)
    key, value = (
        torch.cat([first.expand(rows, -1, -1, -1), rest_of], 2)
        for first, rest_of in zip(begun[1:], (key, value), strict=True)
    )
    attended = _causal(module, query, key, value, options).flatten(0, 1)[None]
    if start:
        attended = torch.cat([_causal(module, *begun, options), attended], 1)
    return attended, None


def _causal(module, query, key, value, options):
    """Attend from the last tokens to themselves and those before, within the layer's window."""
    import torch
    from transformers.integrations.sdpa_attention import sdpa_attention_forward

    shape, window = (query.shape[2], key.shape[2]), options.get("sliding_window")
    begun = shape[1] - shape[0]
    if not begun and (not window or window >= shape[1]):
        return sdpa_attention_forward(module, query, key, value, None, **options)[0]
    seen = torch.ones(shape, dtype=torch.bool).tril(begun)
    if window:
        seen = seen.triu(begun - window + 1)
    return sdpa_attention_forward(module, query, key, value, seen[None, None], **options)[0]
