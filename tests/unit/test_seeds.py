"""Seeds are what SHA-256 says, and differ from purpose to purpose."""

from __future__ import annotations

import hashlib

from prune3d.seeds import derive_seed


def test_the_seed_is_the_first_four_bytes_of_sha256() -> None:
    digest = hashlib.sha256(b"3\x1fbatch order\x1fd100_w80_r100").hexdigest()
    assert derive_seed(3, "batch order", "d100_w80_r100") == int(digest[:8], 16)


def test_a_published_digest() -> None:
    # SHA-256 of "0", as in any table: 5feceb66ffc86f38...
    assert derive_seed(0) == 0x5FECEB66


def test_purposes_and_seeds_do_not_collide() -> None:
    purposes = [("a", "b"), ("ab",), ("a b",), ("b", "a"), ("a",), ("a", ""), ()]
    seeds = [derive_seed(seed, *purpose) for seed in range(200) for purpose in purposes]
    assert len(set(seeds)) == len(seeds)
    assert all(0 <= seed < 2**32 for seed in seeds)


def test_seeds_of_successive_runs_are_spread_evenly() -> None:
    seeds = [derive_seed(seed, "data split") for seed in range(2000)]
    mean = sum(seeds) / len(seeds) / 2**32
    # Uniform: the mean of 2000 has a standard deviation of 0.0065.
    assert abs(mean - 0.5) < 5 * 0.0065
