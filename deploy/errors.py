"""What can go wrong, each with the exit code of the command.

DeployError (1)
  NotOurs                 something of the same name was made by someone else
  DeploymentFailed (2)    the new tasks did not become steady, or were rolled back
  DeploymentTimedOut (3)  neither steady nor failed in the time given
"""

from __future__ import annotations


class DeployError(RuntimeError):
    """The command could not do what was asked; the message says why and what to do."""

    exit_code = 1


class NotOurs(DeployError):
    """A resource has the name that is needed but not the tags of this deployment."""


class DeploymentFailed(DeployError):
    """The deployment that was started will not become steady; it was rolled back where possible."""

    exit_code = 2


class DeploymentTimedOut(DeployError):
    """The deployment is still going on; ECS continues without us."""

    exit_code = 3
