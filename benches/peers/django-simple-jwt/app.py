"""Django REST framework with Simple JWT in one file. Refresh tokens rotate, and used ones are on the blacklist."""

import os
from datetime import timedelta

import django
from django.conf import settings

settings.configure(
    ALLOWED_HOSTS=["*"],
    DATABASES={
        "default": {
            "ENGINE": "django.db.backends.sqlite3",
            "NAME": os.environ["DATABASE"],
            "CONN_MAX_AGE": None,
            "OPTIONS": {
                "timeout": 20,
                "transaction_mode": "IMMEDIATE",
                "init_command": f"pragma journal_mode=wal; pragma synchronous={os.environ['SYNCHRONOUS']}",
            },
        }
    },
    DEFAULT_AUTO_FIELD="django.db.models.BigAutoField",
    INSTALLED_APPS=[
        "django.contrib.auth",
        "django.contrib.contenttypes",
        "rest_framework",
        "rest_framework_simplejwt.token_blacklist",
    ],
    PASSWORD_HASHERS=["app.Bcrypt"],
    REST_FRAMEWORK={
        "DEFAULT_AUTHENTICATION_CLASSES": ["rest_framework_simplejwt.authentication.JWTAuthentication"],
        "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
    },
    ROOT_URLCONF="app",
    SECRET_KEY=os.environ["SECRET"],
    SIMPLE_JWT={
        "ACCESS_TOKEN_LIFETIME": timedelta(days=1),
        "BLACKLIST_AFTER_ROTATION": True,
        "REFRESH_TOKEN_LIFETIME": timedelta(days=30),
        "ROTATE_REFRESH_TOKENS": True,
    },
    USE_TZ=True,
)
django.setup()

from django.contrib.auth.hashers import BCryptPasswordHasher  # noqa: E402
from django.contrib.auth.models import User  # noqa: E402
from django.core.management import call_command  # noqa: E402
from django.core.wsgi import get_wsgi_application  # noqa: E402
from django.urls import path  # noqa: E402
from rest_framework.decorators import api_view, permission_classes  # noqa: E402
from rest_framework.permissions import AllowAny, IsAuthenticated  # noqa: E402
from rest_framework.response import Response  # noqa: E402
from rest_framework_simplejwt import views  # noqa: E402


class Bcrypt(BCryptPasswordHasher):
    rounds = int(os.environ["BCRYPT_COST"])


def shown(user):
    flags = {"is_active": user.is_active, "is_superuser": user.is_superuser, "is_verified": False}
    return Response({"email": user.email, "id": str(user.pk)} | flags)


@api_view(["GET"])
@permission_classes([IsAuthenticated])
def me(request):
    return shown(request.user)


@api_view(["POST"])
@permission_classes([AllowAny])
def register(request):
    email, password = request.data["email"], request.data["password"]
    answer = shown(User.objects.create_user(email, email, password))
    answer.status_code = 201
    return answer


urlpatterns = [
    path("auth/register", register),
    path("auth/login", views.TokenObtainPairView.as_view()),
    path("auth/refresh", views.TokenRefreshView.as_view()),
    path("auth/logout", views.TokenBlacklistView.as_view()),
    path("auth/verify", views.TokenVerifyView.as_view()),
    path("users/me", me),
]

if __name__ == "__main__":
    call_command("migrate", verbosity=0)
else:
    application = get_wsgi_application()
