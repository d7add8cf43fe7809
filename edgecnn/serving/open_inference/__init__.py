"""The Open Inference Protocol v2, with Triton's extensions: what clients send, and what they are answered.

Values and pure functions: no event loop, no HTTP, no gRPC. :func:`~.calls.decode_call` and
:func:`~.message_calls.call_of_message` read an infer request, from the body of an HTTP request or from a
message, into the same :class:`~.calls.InferCall`; whatever is wrong with it is an error that names the fault
and has an HTTP status. :func:`~.answers.encode_answer` and :func:`~.message_calls.answer_message` answer it;
:mod:`~.documents` says what the server and its models are.
"""
