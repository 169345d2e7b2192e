"""Lanes that another one holds whole are left out, and what is open stays the same."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from hypothesis import given
from hypothesis import strategies as st

from server.access.action import Right
from server.access.lanes import Ground, Lane, widest
from server.access.scopes import Coded, Filter

GROUNDS = (Ground.OWN, Ground.SHARE, Ground.SHARE_ORGANIZATION, Ground.BROUGHT, Ground.SERVER)
HOLDERS = ("one", "two")
FILTER = Filter("modality", (Coded(None, "CT"),))
Opened = Mapping[tuple[Ground, str], frozenset[Right]]


@dataclass(frozen=True)
class _Row:
    """A row as lanes ask of it: who gave which rights in it, whose it is, what it is."""

    opened: Opened
    patient: str
    resource: str
    study: str
    is_filtered: frozenset[str]  # types of scopes whose filter selects it

    def on(self, lane: Lane) -> bool:
        if lane.ground is Ground.SERVER:  # all that somebody else than its owner may see
            return any(ground is not Ground.OWN for ground, _ in self.opened)
        rights = self.opened.get((lane.ground, lane.holder))
        return rights is not None and rights.issuperset(lane.rights)

    def is_open(self, lane: Lane) -> bool:
        asked = ((lane.patient, self.patient), (lane.resource, self.resource), (lane.study, self.study))
        narrowed = not lane.filters or lane.scoped in self.is_filtered
        return self.on(lane) and narrowed and all(wanted in (None, mine) for wanted, mine in asked)


RIGHTS = st.sets(st.sampled_from((Right.IMAGES, Right.DOWNLOAD))).map(lambda found: tuple(sorted(found)))
NAMES = st.sampled_from(("a", "b"))
LANES = st.builds(
    Lane,
    ground=st.sampled_from(GROUNDS),
    holder=st.sampled_from(HOLDERS),
    rights=RIGHTS,
    patient=st.none() | NAMES,
    resource=st.none() | NAMES,
    study=st.none() | NAMES,
    filters=st.sampled_from(((), (FILTER,))),
    scoped=st.sampled_from(("Patient", "ImagingStudy")),
).map(lambda lane: Lane(**{**vars(lane), "holder": ""}) if lane.ground is Ground.SERVER else lane)
ROWS = st.builds(
    _Row,
    opened=st.dictionaries(
        st.tuples(st.sampled_from(GROUNDS[:-1]), st.sampled_from(HOLDERS)), RIGHTS.map(frozenset)
    ),
    patient=NAMES,
    resource=NAMES,
    study=NAMES,
    is_filtered=st.frozensets(st.sampled_from(("Patient", "ImagingStudy"))),
)


@given(lanes=st.lists(LANES, max_size=6), rows=st.lists(ROWS, max_size=8))
def test_the_same_rows_are_open(lanes: list[Lane], rows: list[_Row]) -> None:
    """The union of what is kept is the union of all."""
    kept = widest(tuple(lanes))
    assert set(kept) <= set(lanes)
    for row in rows:
        assert any(map(row.is_open, kept)) == any(map(row.is_open, lanes))


def test_what_is_left_out() -> None:
    """A trusted client's own organization; whoever signed in, beside all of theirs; a share with more rights asked."""
    everything = Lane(Ground.SERVER)
    assert widest((Lane(Ground.BROUGHT, "o"), everything, Lane(Ground.SHARE_ORGANIZATION, "o"))) == (
        everything,
    )
    own = Lane(Ground.OWN, "a", patient="p")
    assert widest((own, Lane(Ground.OWN, "a", patient="p", resource="p"))) == (own,)
    seen = Lane(Ground.SHARE, "d", (Right.IMAGES,))
    assert widest((Lane(Ground.SHARE, "d", (Right.IMAGES, Right.DOWNLOAD)), seen)) == (seen,)


def test_what_stays() -> None:
    """Another holder's, another patient's, what a filter does not select, what lies outside of the server's own."""
    two = (Lane(Ground.OWN, "a", patient="p"), Lane(Ground.OWN, "a", patient="q"))
    assert widest(two) == two
    filtered = (Lane(Ground.SERVER, filters=(FILTER,)), Lane(Ground.BROUGHT, "o"))
    assert widest(filtered) == filtered
    register = (Lane(Ground.SERVER), Lane(Ground.REGISTER))
    assert widest(register) == register
