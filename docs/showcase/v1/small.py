"""Small functions of the other deployments."""


def as_rows(data):
    return [[float(value) for value in row] for row in data]


def rounded(result):
    return [round(float(value), 3) for value in result]


def slow_tags(data):
    import time

    time.sleep(0.02)
    return [{"tag": "invoice" if len(str(item)) % 2 else "letter"} for item in data]
