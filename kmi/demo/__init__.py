"""The main job on a machine without keys: a fake API, a throw-away home, a stand-in client."""
