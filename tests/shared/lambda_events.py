"""Events of AWS Lambda, shortened from the samples of AWS SAM's ``sam local generate-event``."""

import base64
from typing import Any


def _body(text: str, encode: bool) -> dict[str, Any]:
    return {"body": base64.b64encode(text.encode()).decode() if encode else text, "isBase64Encoded": encode}


def rest_api(text: str, *, encode: bool = False, method: str = "POST") -> dict[str, Any]:
    """API Gateway's REST API: `generate-event apigateway aws-proxy`."""
    context = {"accountId": "123456789012", "resourceId": "123456", "stage": "prod", "requestId": "c6af9ac6"}
    context |= {"path": "/prod/embed", "resourcePath": "/{proxy+}", "httpMethod": method, "protocol": "HTTP/1.1"}
    return {
        "resource": "/{proxy+}",
        "path": "/embed",
        "httpMethod": method,
        "queryStringParameters": {"foo": "bar"},
        "headers": {"Accept": "*/*", "Host": "1234567890.execute-api.us-east-1.amazonaws.com"},
        "requestContext": context,
        **_body(text, encode),
    }


def http_api(text: str, *, encode: bool = False, method: str = "POST") -> dict[str, Any]:
    """API Gateway's HTTP API: `generate-event apigateway http-api-proxy`. A function URL's event has the same form."""
    http = {"method": method, "path": "/embed", "protocol": "HTTP/1.1", "sourceIp": "192.0.2.1", "userAgent": "agent"}
    context = {"accountId": "123456789012", "apiId": "api-id", "http": http, "requestId": "id", "stage": "$default"}
    return {
        "version": "2.0",
        "routeKey": "$default",
        "rawPath": "/embed",
        "rawQueryString": "",
        "headers": {"content-type": "application/json"},
        "requestContext": context,
        **_body(text, encode),
    }


def load_balancer(text: str, *, encode: bool = False, method: str = "POST") -> dict[str, Any]:
    """An application load balancer: `generate-event alb request`."""
    return {
        "requestContext": {
            "elb": {"targetGroupArn": "arn:aws:elasticloadbalancing:us-east-2:123456789012:targetgroup/x"}
        },
        "httpMethod": method,
        "path": "/embed",
        "queryStringParameters": {},
        "headers": {"accept": "*/*", "x-forwarded-proto": "http"},
        **_body(text, encode),
    }
