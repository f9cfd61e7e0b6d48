"""The errors, each with its exit code.

DeployError (1)
  DeploymentFailed (2)    AWS did not make the change, or rolled it back
  DeploymentTimedOut (3)  neither done nor failed before the timeout
"""

from __future__ import annotations


class DeployError(RuntimeError):
    """The command failed; the message says why and what to do."""

    exit_code = 1


class DeploymentFailed(DeployError):
    """The change failed; AWS rolled it back if possible."""

    exit_code = 2


class DeploymentTimedOut(DeployError):
    """The change is still in progress; AWS continues by itself."""

    exit_code = 3
