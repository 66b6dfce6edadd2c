import json

WIDTH = 8
