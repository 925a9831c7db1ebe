"""Checks that stored weights are unchanged since import and give the same output."""

from __future__ import annotations

from radimagenet_monai.core.errors import WeightsError
from radimagenet_monai.weights.batch_norm import inspect_batch_norm
from radimagenet_monai.weights.fingerprint import TOLERANCE, fingerprint_difference, take_fingerprint
from radimagenet_monai.weights.pretrained_encoder import build_encoder
from radimagenet_monai.weights.store import find_weights, split_name


def verify_stored(name: str) -> str:
    """Check one set of stored weights and return a description of the result.

    The header is read, every tensor compared with the hash taken at import, values and batch norms inspected, and the
    pooled features of the test pattern compared with those recorded.

    Raises
    ------
    ConfigurationError
        If no weights have that name.
    WeightsError
        If anything differs from the import.
    """
    architecture, _ = split_name(name)
    source = find_weights(architecture, name)
    if source.stored is None:
        return "drawn at random, nothing is stored"
    encoder = build_encoder(architecture, name)
    inspect_batch_norm(encoder.state_dict(), source.path)
    difference = fingerprint_difference(source.stored.record["fingerprint"], take_fingerprint(encoder))
    if not difference <= TOLERANCE:
        raise WeightsError(
            f"the features of the test pattern differ by {difference:.1e} from those at import, expected at most "
            f"{TOLERANCE:.0e}: this version or machine computes this encoder otherwise"
        )
    return f"ok, every tensor as imported, fingerprint within {difference:.1e} (at most {TOLERANCE:.0e})"
