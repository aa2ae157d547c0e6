"""Preflight: every wrong path or value of a workflow, by config id and with the fix, before any work is done."""

from frerec.run.preflight.step import PreflightError, check, find_problems

__all__ = ["PreflightError", "check", "find_problems"]
