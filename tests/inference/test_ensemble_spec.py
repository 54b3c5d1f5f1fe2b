"""The words for members: what they mean, what they are written as, and what is refused."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from napari_uncseg.errors import UncsegError
from napari_uncseg.inference.ensemble_spec import AUTO, SINGLE, EnsembleSpec, Kind, Layers, parse_ensemble

PATHS = st.text("abXY09_./ -", min_size=1, max_size=12).map(lambda text: Path(f"a{text}b"))


@st.composite
def any_members(draw) -> EnsembleSpec:
    kind = draw(st.sampled_from(Kind))
    if kind in (Kind.AUTO, Kind.SINGLE):
        return EnsembleSpec(kind)
    if kind is Kind.ENSEMBLE:
        folders = draw(st.lists(PATHS, min_size=2, max_size=5, unique=True))
        return EnsembleSpec(kind, len(folders), folders=tuple(folders))
    count = draw(st.integers(1, 8))
    seed = 0 if kind is Kind.SNAPSHOTS else draw(st.integers(0, 99))
    if kind in (Kind.MC_DROPOUT, Kind.DROPOUT_INJECTION):
        p = draw(st.floats(0, 0.99))
        return EnsembleSpec(kind, count, p, draw(st.sampled_from(Layers)), seed=seed)
    noise = draw(st.floats(0, 1)) if kind is Kind.TTA else 0.0
    return EnsembleSpec(kind, count, noise=noise, seed=seed)


@given(any_members())
def test_words_and_value_are_the_same(members):
    assert parse_ensemble(str(members)) == members


@pytest.mark.parametrize(
    ("words", "members", "told"),
    [
        ("auto", AUTO, "auto"),
        ("single", SINGLE, "single"),
        ("tta", EnsembleSpec(Kind.TTA, 8), "tta:8"),
        ("tta:4", EnsembleSpec(Kind.TTA, 4), "tta:4"),
        ("tta:16,noise=0.1", EnsembleSpec(Kind.TTA, 16, noise=0.1), "tta:16,noise=0.1"),
        ("mc_dropout:20,p=0.2", EnsembleSpec(Kind.MC_DROPOUT, 20, 0.2), "mc_dropout:20,p=0.2"),
        (
            " mc_dropout : 5 , p = 0.2 , seed=3",
            EnsembleSpec(Kind.MC_DROPOUT, 5, 0.2, seed=3),
            "mc_dropout:5,p=0.2,seed=3",
        ),
        ("mc_dropout", EnsembleSpec(Kind.MC_DROPOUT, 20), "mc_dropout:20"),
        (
            "dropout_injection",
            EnsembleSpec(Kind.DROPOUT_INJECTION, 10, 0.05, Layers.DECODER),
            "dropout_injection:10,p=0.05",
        ),
        (
            "dropout_injection:3,layers=all",
            EnsembleSpec(Kind.DROPOUT_INJECTION, 3, 0.05, Layers.ALL),
            "dropout_injection:3,p=0.05,layers=all",
        ),
        ("snapshots", EnsembleSpec(Kind.SNAPSHOTS, None), "snapshots"),
        ("snapshots:3", EnsembleSpec(Kind.SNAPSHOTS, 3), "snapshots:3"),
        ("logit_sampling:15", EnsembleSpec(Kind.LOGIT_SAMPLING, 15), "logit_sampling:15"),
        ("ensemble:a,b/c", EnsembleSpec(Kind.ENSEMBLE, 2, folders=(Path("a"), Path("b/c"))), "ensemble:a,b/c"),
    ],
)
def test_what_words_mean(words, members, told):
    assert parse_ensemble(words) == members
    assert str(members) == told
    assert parse_ensemble(members) is members


@pytest.mark.parametrize(
    "words",
    [
        "",
        "dropout",
        "auto:3",
        "single:3",
        "tta:many",
        "tta:",
        "tta:0",
        "mc_dropout:100000",
        "tta:9",
        "tta:8,p=0.1",
        "snapshots,p=0.1",
        "mc_dropout:20,0.2",
        "mc_dropout:20,p=1",
        "mc_dropout:20,p=nan",
        "mc_dropout:20,p=x",
        "mc_dropout:20,layers=middle",
        "mc_dropout:20,p=0.1,p=0.2",
        "mc_dropout:20,seed=-1",
        "tta:8,noise=-0.1",
        "ensemble",
        "ensemble:a",
        "ensemble:a,a",
    ],
)
def test_wrong_words_are_one_sentence(words):
    with pytest.raises(UncsegError, match=r"^[^\n]+\.$"):
        parse_ensemble(words)


def test_a_model_says_what_auto_is():
    assert AUTO.resolved(1) == SINGLE
    assert AUTO.resolved(3, "tta:2") == EnsembleSpec(Kind.TTA, 2)
    assert AUTO.resolved(3, "snapshots") == EnsembleSpec(Kind.SNAPSHOTS, 3)
    assert SINGLE.resolved(3, "tta:2") == SINGLE


def test_snapshots_are_counted_by_the_model():
    assert parse_ensemble("snapshots").resolved(5) == EnsembleSpec(Kind.SNAPSHOTS, 5)
    assert parse_ensemble("snapshots:2").resolved(5) == EnsembleSpec(Kind.SNAPSHOTS, 2)
    assert parse_ensemble("tta:8").resolved(5) == EnsembleSpec(Kind.TTA, 8)


def test_a_result_tells_the_size_of_an_ensemble_not_its_folders():
    assert parse_ensemble("ensemble:/home/me/a,/home/me/b").method == "ensemble:2"
    assert parse_ensemble("logit_sampling:15").passes == 1
    assert parse_ensemble("mc_dropout:15").passes == 15
    assert parse_ensemble("ensemble:x/a,b").stand_in == Path("x/a")
    assert SINGLE.stand_in is None
