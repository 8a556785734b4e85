"""Small functions of the other deployments."""


def as_rows(data):
    return [[float(value) for value in row] for row in data]


def rounded(result):
    return [round(float(value), 3) for value in result]


def slow_tags(data):
    import time

    time.sleep(0.02)
    return [{"tag": "invoice" if len(str(item)) % 2 else "letter"} for item in data]


def queues(data):
    import time

    time.sleep(0.03)
    return [{"queue": "cards" if "card" in str(item) else "parcels"} for item in data]


def as_text(data):
    return [str(item) for item in data]


def fields(texts):
    import time

    time.sleep(0.012 * len(texts))
    return [{"total": len(text) * 7, "currency": "EUR"} for text in texts]


def report(result):
    import csv

    from penstock import upload

    with open("fields.csv", "w", newline="") as file:
        csv.writer(file).writerows([row["total"], row["currency"]] for row in result)
    return {"fields": result, "table": upload("fields.csv")}
