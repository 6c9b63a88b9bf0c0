"""Whether the tests of the cxxrtl engine can run here."""

import shutil

import pytest

needs_compiler = pytest.mark.skipif(
    not any(map(shutil.which, ("clang++", "g++", "c++"))), reason="no C++ compiler")
