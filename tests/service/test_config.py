"""For any environment, the start works or fails with the variable's name."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from service.config import Config, ConfigError

# As in os.environ: bytes that are not UTF-8 become surrogates.
TEXT = st.text(st.characters(exclude_characters="\0"), min_size=1) | st.sampled_from(
    [
        "nan",
        "inf",
        "-inf",
        "1e999",
        "1e-320",
        "9" * 5000,
        "\udc80",
        "1_0",
        "0x10",
        ",",
        " ",
        "../..",
    ]
)


@settings(max_examples=1000, deadline=None)
@given(st.sampled_from(sorted(Config.model_fields)), TEXT)
def test_any_text_is_taken_or_refused_by_name(name: str, text: str) -> None:
    try:
        Config.from_environ({name: text})
    except ConfigError as error:
        assert name in str(error)  # noqa: PT017 (either may come)


def test_a_rate_too_small_to_count_with_is_refused() -> None:
    with pytest.raises(ConfigError, match="RATE_LIMIT"):
        Config.from_environ({"RATE_LIMIT": "1e-320"})
