"""The gateway and the app answer the same, byte for byte but for ids and times."""


def _through_app(corpus, arguments):
    fields = dict(arguments[1])
    fields["path"] = fields.get("path", corpus.PATH).replace(b"/echo/", b"/%65cho/")
    return corpus.post(*arguments[0], **fields)


def test_the_gateway_and_the_app_give_the_same_bytes(front, corpus, parity):
    inline = front.ask(corpus.post(*parity[0], **parity[1]))
    app = front.ask(_through_app(corpus, parity))
    assert inline.masked() == app.masked()


def test_both_leave_the_connection_in_the_same_state(front, corpus, parity):
    for request in (corpus.post(*parity[0], **parity[1]), _through_app(corpus, parity)):
        client = front.connect()
        reply = client.ask(request)
        if reply.fields.get("connection") == "close":
            assert client.is_closed()
        else:
            assert client.ask(corpus.post(b"again")).status == 200


def test_both_refuse_a_deployment_that_is_starting(front, corpus):
    inline = front.ask(corpus.post(path=b"/v1/default/starting/predict"))
    app = front.ask(corpus.post(path=b"/v1/default/%73tarting/predict"))
    assert inline.status == 503
    assert inline.fields["retry-after"] == "1"
    assert inline.masked() == app.masked()


def test_chunked_and_sized_bodies_get_the_same_answer(front, corpus):
    sized = front.ask(corpus.post(b"x" * 70_000))
    chunked = front.ask(corpus.chunked(b"x" * 60_000, b"x" * 10_000))
    assert sized.masked() == chunked.masked()
