"""Sizes of the caches."""

import pytest

from rtl.cache.config import CacheConfig


@pytest.mark.parametrize("name", ["icache_bytes", "dcache_bytes"])
@pytest.mark.parametrize("size", [128, 3000, 16384])
def test_bad_size(name, size):
    with pytest.raises(ValueError, match=f"{name} must be a power of two from 256 to 8192, not {size}"):
        CacheConfig(**{name: size})
