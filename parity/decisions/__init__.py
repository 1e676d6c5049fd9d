"""What can differ as a whole (token, frame, boundary), and when rounding explains it: a file per kind of decision.

A difference is *explained* where the truth itself stands closer to the decision's edge than the numbers are exact:
then two right implementations may decide differently. Anything else is a bug.
"""
