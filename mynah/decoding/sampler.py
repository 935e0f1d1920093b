"""Drawing the next token of every running sequence at once.

top-p (nucleus, Holtzman et al. 2020) needs no sort: a token is drawn from the whole distribution and kept when the tokens likelier
than it weigh less than p together, which is what being in the nucleus means. What is drawn outside is drawn again among the
likelier ones, so that a small p takes a few rounds and not hundreds (as FlashInfer's sampling kernels do,
https://flashinfer.ai/2025/03/10/sampling.html). Sums go by blocks of 256, so that each row's are the same whatever the other rows are.
"""

import random
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from mynah.decoding import compiled_sampling
from mynah.decoding.model import PAD
from mynah.models.sampling import Sampling

# The logprob of a token (nats), and the likeliest tokens in its place with theirs, the likeliest first.
TokenScores = tuple[float, list[tuple[int, float]]]
REFUSALS_AT_ONCE, LIKELIEST = (
    8,
    256,
)  # after so many refused tokens of a row in one step, so many of its likeliest are asked about at once
MAX_ROUNDS = 200  # of drawing for one step; a row that is left then ends: each round halves what there is, or refuses a token


@dataclass(eq=False)
class SamplerState:
    """What one sequence needs to draw: its choices, its own random numbers, and the tokens it has."""

    sampling: Sampling
    random: random.Random
    end: int
    penalty: float = 1.0
    written: int = 0  # tokens drawn so far
    seen: set[int] = field(default_factory=set)  # of prompt and answer; kept for the penalty alone
    refuses: Callable[[int], bool] | None = None  # whether a token would repeat a training post

    @property
    def too_early(self) -> bool:
        """Whether the answer may not end yet."""
        return self.written < self.sampling.min_tokens


def sample_rng(seed: int, sample: int) -> random.Random:
    """The random numbers of sample `sample` of a request, whatever runs beside it."""
    return random.Random(f"{seed}/{sample}")


def draw(
    logits: Tensor,
    states: Sequence[SamplerState],
    shift: Callable[[Sequence[int]], Tensor] | None = None,
    *,
    is_compiled: bool = False,
) -> list[int]:
    """Draw a token for each row.

    Args:
        logits: fp32 [rows, vocabulary padded to 256], changed in place.
        states: Each row's.
        shift: From rows to the number by which their logits fall short of the model's own, which only the repetition penalty asks for,
            since it takes positive and negative logits differently.
        is_compiled: Whether our own compiled functions do what takes long.
    """
    _prepare(logits, states, shift)
    unlimited = _limit(logits, states)
    weigh, draw_once = (compiled_sampling.weigh, compiled_sampling.draw) if is_compiled else (_weigh, _draw_once)
    weights, total = weigh(logits)
    tokens = [each.end for each in states]
    left = [row for row, sound in enumerate(torch.isfinite(total).tolist()) if sound]  # broken weights say nothing more
    if len(left) < len(states):
        weights, total = weights[left], total[left]
    refused = Counter[int]()
    for _ in range(MAX_ROUNDS):
        if not left:
            break
        numbers, limits = [states[row].random.random() for row in left], [states[row].sampling.top_p for row in left]
        drawn, outside = draw_once(weights, total, numbers, limits)
        again: list[int] = []
        for place, row in enumerate(left):
            token = drawn[place]
            if outside[place]:
                again.append(place)
            elif _is_refused(states[row], token):
                refused[row] += 1
                several = _refused_likeliest(logits[row], states[row]) if refused[row] % REFUSALS_AT_ONCE == 0 else []
                if _refuse(logits, unlimited, row, [token, *several], states[row]):
                    again.append(place)
            else:
                tokens[row] = token
        rows = [left[place] for place in again]
        if rows:
            weights, total = _again(weigh, logits, weights, total, rows, again, drawn, outside)
        left = rows
    return tokens


def logprobs(logits: Tensor, rows: Sequence[int], tokens: Sequence[int], top: int) -> list[TokenScores]:
    """Of the rows `rows`: the natural logarithm of the chosen token's probability, and the `top` likeliest tokens with theirs."""
    chosen = torch.log_softmax(logits[list(rows)], 1)
    best = torch.topk(chosen, max(1, top), 1)
    return [
        (float(chosen[place, token]), list(zip(best.indices[place].tolist(), best.values[place].tolist(), strict=True))[:top])
        for place, token in enumerate(tokens)
    ]


def _prepare(logits: Tensor, states: Sequence[SamplerState], shift: Callable[[Sequence[int]], Tensor] | None) -> None:
    """Everything that changes the distribution, in the order of transformers' processors."""
    punished = [row for row, each in enumerate(states) if each.penalty != 1.0 and each.seen]
    for row, lifted in zip(punished, shift(punished).tolist() if shift and punished else (), strict=False):
        ids = torch.tensor(sorted(states[row].seen), device=logits.device)
        own = logits[row, ids] + lifted
        logits[row, ids] = torch.where(own > 0, own / states[row].penalty, own * states[row].penalty) - lifted
    early = [row for row, each in enumerate(states) if each.too_early]
    if early:
        logits[early, [states[row].end for row in early]] = -torch.inf
    temperatures = [each.sampling.temperature for each in states]
    if any(temperature != 1.0 for temperature in temperatures):
        logits /= torch.tensor(temperatures, device=logits.device)[:, None]


def _limit(logits: Tensor, states: Sequence[SamplerState]) -> dict[int, Tensor]:
    """Leave each row with a top-k its k likeliest tokens; what these rows were before, for when one of the k is refused.

    Of tokens that are as likely as one another, which bf16 makes of many, always the same stay: greedy is top-k 1.
    """
    limited = {row: each.sampling.top_k for row, each in enumerate(states) if 0 < each.sampling.top_k < logits.shape[1]}
    before = {row: logits[row].clone() for row in limited}
    for row, count in limited.items():
        _keep_best(logits, row, count)
    return before


def _keep_best(logits: Tensor, row: int, count: int) -> None:
    best = torch.topk(logits[row], count)
    logits[row] = logits[row].fill_(-torch.inf).scatter_(0, best.indices, best.values)


def _refused_likeliest(logits: Tensor, each: SamplerState) -> list[int]:
    """Those of the likeliest tokens that are refused; `logits`: fp32 [vocabulary]. A model may want nothing but a script that is refused."""
    likeliest = torch.topk(logits, min(LIKELIEST, len(logits))).indices.tolist()
    return [token for token in likeliest if _is_refused(each, token)]


def _refuse(logits: Tensor, unlimited: dict[int, Tensor], row: int, tokens: list[int], each: SamplerState) -> bool:
    """Make tokens impossible in a row; the next likeliest take their places among the k. False when none is left."""
    logits[row, tokens] = -torch.inf
    if row in unlimited:
        unlimited[row][tokens] = -torch.inf
        logits[row] = unlimited[row]
        _keep_best(logits, row, each.sampling.top_k)
    return bool(logits[row].max() > -torch.inf)


def _weigh(logits: Tensor) -> tuple[Tensor, Tensor]:
    """Probabilities but for a factor per row, and their sums: as `compiled_sampling.weigh`."""
    weights = (logits - logits.amax(1, keepdim=True)).exp_()
    return weights, _blocks(weights).cumsum(1)[:, -1]


def _blocks(weights: Tensor) -> Tensor:
    return weights.view(len(weights), -1, PAD).sum(-1)


def _draw_once(weights: Tensor, total: Tensor, numbers: Sequence[float], limits: Sequence[float]) -> tuple[list[int], list[bool]]:
    """A token for each row by its weight, and whether it lies outside its nucleus: as `compiled_sampling.draw`."""
    drawn = _by_weight(weights, numbers)
    return drawn, _outside(weights, total, drawn, limits)


def _by_weight(weights: Tensor, numbers: Sequence[float]) -> list[int]:
    """A token for each row by its weight: which block, then which token of it, by the inverse of the cumulated sum."""
    sums = _blocks(weights).cumsum(1)
    targets = torch.tensor(numbers, device=weights.device)[:, None] * sums[:, -1:]
    blocks = torch.searchsorted(sums, targets, right=True).clamp_(max=sums.shape[1] - 1)
    before = torch.where(blocks > 0, sums.gather(1, (blocks - 1).clamp_(min=0)), 0.0)
    rows = torch.arange(len(weights), device=weights.device)
    inner = weights.view(len(weights), -1, PAD)[rows, blocks[:, 0]]
    within = torch.searchsorted(inner.cumsum(1), targets - before, right=True)
    # Rounding may point past the last token that has a weight.
    last = PAD - 1 - (inner.flip(1) > 0).to(torch.int8).argmax(1, keepdim=True)
    return list((blocks * PAD + torch.minimum(within, last))[:, 0].tolist())


def _outside(weights: Tensor, total: Tensor, drawn: Sequence[int], limits: Sequence[float]) -> list[bool]:
    """Which of the drawn tokens lie outside their nucleus."""
    if all(limit >= 1.0 for limit in limits):
        return [False] * len(limits)
    own = weights.gather(1, torch.tensor(drawn, device=weights.device)[:, None])
    likelier = _blocks(weights * (weights > own)).cumsum(1)[:, -1]
    allowed = torch.tensor([limit if limit < 1.0 else torch.inf for limit in limits], device=weights.device) * total
    return list((likelier >= allowed).tolist())


def _is_refused(each: SamplerState, token: int) -> bool:
    return token != each.end and each.refuses is not None and each.refuses(token)


def _again(
    weigh: Callable[[Tensor], tuple[Tensor, Tensor]],
    logits: Tensor,
    weights: Tensor,
    total: Tensor,
    rows: list[int],
    places: list[int],
    drawn: list[int],
    outside: list[bool],
) -> tuple[Tensor, Tensor]:
    """The weights of the rows that draw again, and what the nucleus is a share of.

    A row that drew outside its nucleus keeps what is likelier than that; one whose token was refused starts afresh without it.
    """
    kept = weights[places]
    total = total[places]
    own = kept.gather(1, torch.tensor([drawn[place] for place in places], device=kept.device)[:, None])
    narrowed = kept.masked_fill_(kept <= own, 0.0)
    for place, old in enumerate(places):
        if not outside[old]:
            narrowed[place : place + 1], total[place : place + 1] = weigh(logits[rows[place]][None])
    return narrowed, total
