"""What can go wrong, each with the exit code of the command.

DeployError (1)
  DeploymentFailed (2)    AWS did not carry it out, or went back to what was before
  DeploymentTimedOut (3)  neither done nor failed in the time given
"""

from __future__ import annotations


class DeployError(RuntimeError):
    """The command could not do what was asked; the message says why and what to do."""

    exit_code = 1


class DeploymentFailed(DeployError):
    """The change did not come about; AWS went back to what was before where possible."""

    exit_code = 2


class DeploymentTimedOut(DeployError):
    """The change is still going on; AWS continues without us."""

    exit_code = 3
