"""What a call costs, by the prices that genai-prices brings along; it is never looked up online."""

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

FREE = "free"


@dataclass(frozen=True)
class Price:
    """What a model's tokens cost.

    Attributes
    ----------
    provider : str
        As genai-prices names it; ``"free"`` costs nothing, "" is unknown.
    model : str
    batch : bool
        Asked in a batch, where the provider has a price for it: half, as OpenAI's Batch API FAQ
        and Anthropic's page on batch processing say.
    """

    provider: str
    model: str
    batch: bool = False

    def usd(
        self, prompt_tokens: int, completion_tokens: int, cached: int = 0, written: int = 0
    ) -> float | None:
        """Return the US dollars of one call, None where no price is known.

        Parameters
        ----------
        prompt_tokens, completion_tokens : int
            All that were read, and all that were written: those of a model's thoughts too.
        cached, written : int
            Those of the prompt that were read from, and written to, the provider's cache.
        """
        if self.provider == FREE:
            return 0.0
        if not self.provider:
            return None
        from genai_prices import Usage, calc_price

        cached = min(cached, prompt_tokens)
        usage = Usage(
            input_tokens=prompt_tokens,
            output_tokens=completion_tokens,
            cache_read_tokens=cached,
            cache_write_tokens=min(written, prompt_tokens - cached),
        )
        context = {"processing": "batch"} if self.batch else None
        try:
            price = calc_price(
                usage, model_ref=self.model, provider_id=self.provider, price_context=context
            )
        except LookupError:
            return None
        return float(price.total_price)

    def facts(self) -> dict:
        """Return what to record with a run: the model's price per million tokens, and its source.

        ``input_usd`` and ``output_usd`` are those of a small call, None where no price is known.
        """
        import importlib.metadata

        source = f"genai-prices {importlib.metadata.version('genai-prices')}"
        if self.provider in ("", FREE):
            source = "runs here" if self.provider else "unknown"
        return {
            "provider": self.provider,
            "model": self.model,
            "input_usd": self._per_million(1000, 0),
            "output_usd": self._per_million(0, 1000),
            "source": source,
        }

    def _per_million(self, prompt_tokens: int, completion_tokens: int) -> float | None:
        usd = self.usd(prompt_tokens, completion_tokens)
        return None if usd is None else usd * 1e6 / (prompt_tokens + completion_tokens)

    def page(self) -> str:
        """Return the address of the provider's own page of prices, "" if none is known."""
        from genai_prices.data_snapshot import get_snapshot

        known = next((p for p in get_snapshot().providers if p.id == self.provider), None)
        return known.pricing_urls[0] if known and known.pricing_urls else ""


def dated() -> str:
    """Return the newest day that the bundled prices name: they are of that day or later.

    The package writes days as of which it verified a price into its data, and no date of the data.
    """
    import genai_prices.data

    text = Path(genai_prices.data.__file__).read_text("utf-8")
    days = [
        f"{int(year)}-{int(month):02d}-{int(day):02d}"
        for year, month, day in re.findall(r"\b(20\d\d)(?:, |-)(\d\d?)(?:, |-)(\d\d?)\b", text)
    ]
    today = f"{datetime.now(UTC):%Y-%m-%d}"
    return max((day for day in days if day <= today), default="")
