"""The float graph as int8 sees it: ops, plan, scales, and the QDQ graph that is written."""
