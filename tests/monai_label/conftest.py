"""These tests need an environment of their own, which run.sh makes; elsewhere they are not collected."""

from importlib.util import find_spec

collect_ignore = [] if find_spec("monailabel") else ["test_server.py"]
