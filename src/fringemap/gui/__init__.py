"""The browser: a page served to this machine, to see, correct and compare. No numerics here.

``server`` puts it together; ``security`` stands at the door; ``root`` bounds what can be reached; ``session`` holds
what a user has done; ``frames`` keeps the last frames read; ``runs`` and ``worker`` analyse in processes of their own;
``panes`` answers what each part of the page asks. ``static`` is the page: plain modules without a build step, and
nothing from the network.
"""
