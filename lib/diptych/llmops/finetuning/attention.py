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

    Returns
    -------
    tensor of shape (1, start + rows * width, heads, size), None
    """
    import torch
    from transformers.integrations.sdpa_attention import sdpa_attention_forward

    if not rows:
        return sdpa_attention_forward(module, query, key, value, mask, **options)
    split = [x.split([start, x.shape[2] - start], 2) for x in (query, key, value)]
    begun, rest = zip(*split, strict=True)
    # (rows, heads, width, size)
    query, key, value = (x[0].unflatten(1, (rows, -1)).transpose(0, 1) for x in rest)
    key, value = (
        torch.cat([first.expand(rows, -1, -1, -1), rest_of], 2)
        for first, rest_of in zip(begun[1:], (key, value), strict=True)
    )
    seen = torch.ones(query.shape[2], key.shape[2], dtype=torch.bool).tril(start)
    attended = sdpa_attention_forward(module, query, key, value, seen[None, None], **options)[0]
    attended = attended.flatten(0, 1)[None]
    if start:
        prefix = sdpa_attention_forward(module, *begun, None, **options)[0]
        attended = torch.cat([prefix, attended], 1)
    return attended, None
