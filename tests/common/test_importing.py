"""While modules load nobody looks for garbage; afterwards it is as before, whatever happened."""

import gc

import pytest

from headwater.components.common import lazy
from headwater.components.common.importing import uncollected


def test_garbage_is_looked_for_again_afterwards_and_only_where_it_was_before():
    assert gc.isenabled()
    with uncollected():
        with uncollected():
            assert not gc.isenabled()
        assert not gc.isenabled()
    assert gc.isenabled()
    with pytest.raises(AttributeError):
        lazy.lazy("headwater.components.common", {"nothing": "lazy"})("nothing")
    assert gc.isenabled()
    gc.disable()
    try:
        with uncollected():
            pass
        assert not gc.isenabled()
    finally:
        gc.enable()
