"""The settings of an ablation: its arms, the questions they answer, and what counts as an answer."""

from typing import Annotated, Literal, Self

from pydantic import ConfigDict, Field, model_validator

from tasks.core.params import BenchmarkName, ModelName, NameOf, Params
from tasks.engines.params import SamplingParams

Chain = Literal[
    "best", "worst", "random", "longest", "equations", "level-1", "level-2", "level-3", "level-4", "level-5"
]
ArmName = Annotated[str, NameOf("arm", "arms")]
Share = Annotated[float, Field(gt=0, le=1)]


class ArmParams(Params):
    """One arm: the base it trains, and which questions it takes with which of their chains."""

    base: ModelName = "base"
    """The model to train, by its name under base.models."""
    questions: str = "band"
    """`band`: solved by the strong model 1 to 3 times of 32. `all`. Or a group of `ablation.levels`."""
    chain: Chain = "best"
    """Which of a question's right chains: by score (`best`, `worst`), by tokens, by right equations, any; `level-k`:
    k-th of five evenly spaced places in the order of score, worst first, of questions with at least five chains."""
    rank: Literal["best", "worst", "random"] = "random"
    """Which questions: by the score of the chain taken, or any."""
    count: int = Field(48, ge=0)
    """Samples to take; 0: the base as it is, untrained."""
    min_chains: int = Field(1, ge=1)
    """Only questions with at least so many right chains: the same for arms that differ in their chains alone."""
    chains_per_question: int = Field(1, ge=1)
    """Chains to take of each question at most, in the order of `chain`, until there are `count`."""

    @model_validator(mode="after")
    def _one_level(self) -> Self:
        if self.chain.startswith("level-") and self.chains_per_question > 1:
            raise ValueError(f"chain {self.chain} is one chain of a question; leave chains_per_question at 1")
        return self


class QuestionParams(Params):
    """A question that arms answer."""

    name: str = Field(pattern=r"^[\w-]+$")
    """Names its figure's file."""
    asks: str
    """The question in words."""
    paper: str
    """What the paper found."""
    arms: dict[ArmName, str]
    """The arms to show, each with its label, in order."""
    contrasts: tuple[tuple[ArmName, ArmName], ...] = Field(min_length=1)
    """Pairs of arms (better, worse): the claim holds where the first is above the second."""


class AblationParams(Params):
    """What arms share, and how they are compared."""

    seeds: tuple[int, ...] = Field((1, 2, 3), min_length=1)
    """Each arm is trained once a seed; it decides the part of the pool, what is random in the choice, and the order."""
    pool_share: Share = 0.75
    """Share of the questions that a seed sees, the same for all arms: seeds differ in their data, not in order only."""
    band: tuple[int, int] = (1, 3)
    """Times the strong model solves a question of the band, least and most. Paper: 1 to 3 of 32."""
    modulus: int | None = Field(None, gt=1)
    """Equations are right modulo this; null: exactly."""
    levels: dict[str, tuple[str, ...]] = Field(default_factory=dict)
    """Groups of questions by the level their source states."""
    accuracy_over: tuple[BenchmarkName, ...] = Field(min_length=1)
    """Benchmarks whose items make the accuracy; the others are out of distribution."""
    smallest_effect: float = Field(0.05, gt=0, lt=1)
    """Difference worth having: a claim whose interval lies below it does not hold."""
    confidence: float = Field(0.95, gt=0, lt=1)
    """Coverage of every interval."""
    resamples: int = Field(4000, ge=100)
    """Bootstrap resamples."""
    questions: tuple[QuestionParams, ...] = Field(min_length=1)
    """The questions that the arms are to answer."""
    predictors: tuple[ArmName, ...] = ()
    """Arms over which traits of the chains are correlated with accuracy: those that differ in their chains alone."""


class ArmsParams(Params):
    """All arms: each key of the section is one."""

    model_config = ConfigDict(extra="allow")
    __pydantic_extra__: dict[str, ArmParams] = Field(init=False)

    @property
    def named(self) -> dict[str, ArmParams]:
        """The arms by name."""
        return self.__pydantic_extra__


class ProtocolParams(Params):
    """How the benchmark items are answered."""

    sampling: SamplingParams = SamplingParams(temperature=0)
    """One response an item. Paper: greedy."""
